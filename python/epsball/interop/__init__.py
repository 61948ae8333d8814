"""Models and arrays of other frameworks."""
