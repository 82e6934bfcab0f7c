"""How fast it is, each figure beside a reference measured in the same minute. `make bench` runs all of it."""
