"""Label maps as arrays: boxes, components, the rules of anatomy, lesions and their diameters."""
