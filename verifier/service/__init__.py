"""The service: models, data and questions over HTTP, answered by workers, kept in a database. `plumbline serve`."""
