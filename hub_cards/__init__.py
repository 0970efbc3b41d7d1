"""Cards of what is pushed to the Hub: facts read from run folders, templates, and the builder."""
