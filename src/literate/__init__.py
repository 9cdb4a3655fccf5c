"""The builder of the book: one source file per topic, every form generated from it."""
