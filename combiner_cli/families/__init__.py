"""Ways of coding, one folder each. Nobody but the registry names one."""

__all__ = ["registry"]
