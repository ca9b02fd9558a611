"""What a hostile remote may try, each attack a test that names it: none may take a peer or its neighbours down."""
