"""What the service knows, in a database: the only place with SQL."""
