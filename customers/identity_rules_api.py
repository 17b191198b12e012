"""The rules of identity over HTTP."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from customers import apikit, identity_rules
from customers.models import IdentityRules


class WordsField(serializers.ListField):
    child = serializers.CharField(max_length=identity_rules.MAX_WORD, allow_blank=False)


class RulesSerializer(apikit.StrictSerializer):
    """How people are recognised. Null takes a rule back to what the environment says."""

    trusted = serializers.ListField(
        child=serializers.ChoiceField(identity_rules.MAY_BE_TRUSTED),
        allow_null=True,
        help_text="Of email and phone those whose shared value makes two profiles one.",
    )
    shared = WordsField(
        allow_null=True, help_text="Kinds of your own that several people share: they join nobody."
    )
    limits = serializers.DictField(
        child=serializers.IntegerField(min_value=1, max_value=identity_rules.MAX_LIMIT),
        allow_null=True,
        help_text="How many identifiers of a kind a profile takes. Kinds that are not named keep "
        "their default.",
    )
    never = WordsField(
        allow_null=True,
        max_length=identity_rules.MAX_WORDS,
        help_text="Values that name nobody here, besides null, guest and their like.",
    )
    waiting_days = serializers.IntegerField(
        allow_null=True,
        min_value=0,
        max_value=identity_rules.MAX_DAYS,
        help_text="For how long e-mail reports wait for their recipient; 0: for ever.",
    )


class CurrentRulesSerializer(RulesSerializer):
    """The rules that hold, and what they are by default."""

    default = RulesSerializer(source="defaults", read_only=True)
    changed_at = apikit.UtcDateTimeField(allow_null=True, read_only=True)
    changed_by = serializers.CharField(allow_null=True, read_only=True)


class RulesChangeSerializer(apikit.StrictModelSerializer):
    """What was decided at a time; null is what the environment said."""

    limits = serializers.DictField(child=serializers.IntegerField(), allow_null=True)

    class Meta:
        model = IdentityRules
        fields = ["id", "at", "by", *identity_rules.MEMBERS]
        read_only_fields = fields


class IdentityRulesViewSet(viewsets.GenericViewSet[IdentityRules]):
    """How people are recognised: what joins profiles, what names nobody, what limits there are."""

    resource = "identity-rules"
    model = IdentityRules
    queryset = IdentityRules.objects.all()
    serializer_class: Any = RulesSerializer
    page_order = ("-id",)

    @extend_schema(responses=CurrentRulesSerializer)
    def current(self, request: Request) -> Response:
        """The rules that hold, and who changed them last."""
        return Response(_current())

    @extend_schema(request=RulesSerializer, responses=CurrentRulesSerializer)
    def change(self, request: Request) -> Response:
        """Change some of the rules, for everything that comes in from now on.

        Who was joined or kept apart before stays so. In force within two seconds.
        """
        given = CurrentRulesSerializer(data=request.data, partial=True)
        given.is_valid(raise_exception=True)
        try:
            identity_rules.change(given.validated_data, by=apikit.actor(request))
        except identity_rules.RuleError as error:
            raise apikit.refuse(error.member, str(error)) from error
        return Response(_current())

    @extend_schema(responses=RulesChangeSerializer(many=True), filters=False)
    @action(detail=False)
    def history(self, request: Request) -> Response:
        """Who changed the rules, and to what; the latest first."""
        rows = self.paginate_queryset(self.get_queryset())
        return self.get_paginated_response(RulesChangeSerializer(rows, many=True).data)


def _current() -> dict[str, Any]:
    latest = IdentityRules.objects.first()
    changed = {"changed_at": latest and latest.at, "changed_by": latest and latest.by}
    rules = {**identity_rules.current(), "defaults": identity_rules.defaults(), **changed}
    return dict(CurrentRulesSerializer(rules).data)
