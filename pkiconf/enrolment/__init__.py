"""What an operator approves before anybody asks: grants, invitations by mail, and profiles for Apple devices."""
