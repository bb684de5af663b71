"""The commands of `liverseg`: thin functions that check arguments, call the package and print results."""
