"""Tables and pictures of a result; the only package that imports matplotlib."""
