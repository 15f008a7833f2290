"""Who is who: keys, the file of public keys and roles, and who is admitted at which socket."""
