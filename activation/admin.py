"""Staff's view of what is told to the world: triggers, destinations, deliveries."""

from activation.delivery_admin import DeliveryAdmin as DeliveryAdmin
from activation.destination_admin import DestinationAdmin as DestinationAdmin
from activation.trigger_admin import TriggerAdmin as TriggerAdmin
