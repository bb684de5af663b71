"""Label maps as arrays: boxes, components, anatomy rules, lesions and their diameters."""
