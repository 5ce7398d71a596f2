"""Every bound of this store, with its reason."""

TABLE_MAX = 16
"""characters of a table's name, all ASCII. Source: `kexkit.api.Key`"""

ID_MAX = 240
"""bytes of an id. Source: `kexkit.api.Key`"""

MAP_BYTES = 1024 * 1024 * 1024
"""the largest that the file may grow: LMDB wants to know beforehand. It takes no room on the disk before it is used"""
