"""Storage of files under the root of a store: a local disk, or an object store."""
