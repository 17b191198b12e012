from django.urls import include, path
from rest_framework.routers import SimpleRouter

from activation import api

router = SimpleRouter()
router.register("destinations", api.DestinationViewSet, basename="destination")
router.register("triggers", api.TriggerViewSet, basename="trigger")
router.register("deliveries", api.DeliveryViewSet, basename="delivery")

urlpatterns = [path("api/", include(router.urls))]
