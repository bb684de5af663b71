"""Many inputs into one output folder: each is segmented, written and remembered; one that fails costs no other."""
