"""A trigger in one sentence, for people."""

from activation.models import AtMost, On, QuietThen, Trigger


def sentence(trigger: Trigger) -> str:
    """Say what a trigger does: when it sends, to where, for whom not, and when not."""
    parts = [
        f"When a customer {happening(trigger)} “{trigger.segment}”, "
        f"send to “{trigger.destination}”",
        *conditions(trigger),
    ]
    return ", ".join(parts) + "."


def happening(trigger: Trigger) -> str:
    """What it waits for, as it stands before the segment's name."""
    if trigger.on == On.STAY:
        return f"has been for {duration(trigger)} in"
    return str(trigger.get_on_display())


def duration(trigger: Trigger) -> str:
    """The time that somebody must have been in: 3 days, 1 hour."""
    unit = trigger.stay_unit if trigger.stay_for != 1 else trigger.stay_unit.removesuffix("s")
    return f"{trigger.stay_for} {unit}"


def conditions(trigger: Trigger) -> list[str]:
    """What keeps messages back, each as a part of a sentence."""
    found = []
    if trigger.at_most == AtMost.ONCE:
        found.append("at most once")
    elif trigger.at_most == AtMost.ONCE_PER_DAYS:
        days = "day" if trigger.at_most_days == 1 else f"{trigger.at_most_days} days"
        found.append(f"at most once in {days}")
    if trigger.purpose:
        found.append(f"only with consent to {trigger.purpose}")
    if trigger.quiet_from and trigger.quiet_until:
        found.append(_quiet(trigger))
    return found


def _quiet(trigger: Trigger) -> str:
    whose = (
        f" (by the time zone in “{trigger.quiet_zone_field}”)" if trigger.quiet_zone_field else ""
    )
    then = "held" if trigger.quiet_then == QuietThen.HOLD else "never"
    return f"{then} from {trigger.quiet_from:%H:%M} to {trigger.quiet_until:%H:%M}{whose}"
