"""MongoDB, by motor, which is imported here and in the services' `mongo_store` only."""
