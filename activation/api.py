"""Destinations, triggers and deliveries over HTTP."""

from activation.delivery_api import DeliverySerializer as DeliverySerializer
from activation.delivery_api import DeliveryViewSet as DeliveryViewSet
from activation.destination_api import DestinationViewSet as DestinationViewSet
from activation.trigger_api import TriggerViewSet as TriggerViewSet
