"""The commands of `liverseg`, thin: each checks what it was given, calls the package and says what came of it."""
