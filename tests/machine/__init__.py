"""What this machine lends to a test: ports, programs of Debian's, and a broker of its own."""
