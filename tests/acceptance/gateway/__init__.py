"""The gateway: the official clients, tenants, hostile requests."""
