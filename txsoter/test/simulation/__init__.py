"""Seeded simulations: whole networks of peers, and what must hold in each of them."""
