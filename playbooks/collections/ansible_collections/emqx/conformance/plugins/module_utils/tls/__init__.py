"""TLS engines, the key log and the reader of what goes over the wire."""
