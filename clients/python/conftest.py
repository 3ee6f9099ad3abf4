from avouch_harness import avouch  # noqa: F401
