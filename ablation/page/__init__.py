"""A study's page: one HTML file that needs no other, and the pictures beside it."""
