"""How the schema came to be: one revision after another, each written out, never changed once released."""
