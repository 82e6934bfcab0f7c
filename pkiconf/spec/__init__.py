"""What operators write: YAML ⇄ checked values, every complaint with its place and a way out."""
