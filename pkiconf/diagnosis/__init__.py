"""What is wrong, or soon will be, each with a remedy. Looks at everything and changes nothing."""
