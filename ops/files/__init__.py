"""Files of orders as staff see them: imports that come in, exports that go out."""
