"""One module for each executable; every one has a main()."""
