//! The tests of the whole: one binary, so that it is linked once. Run them with `tests/run`.

mod browser;
