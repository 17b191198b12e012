"""Staff's view of what customers did: a module for each list registers its pages."""

from events import event_name_admin, quarantine_admin, source_admin, waiting_admin

__all__ = ["event_name_admin", "quarantine_admin", "source_admin", "waiting_admin"]
