module avouch

go 1.19
