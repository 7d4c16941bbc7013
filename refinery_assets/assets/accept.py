"""The job `accept`: what `refinery accept` does, for whoever works in the UI.

Here: its config, and the op. Not here: what may be accepted (`warehouse/acceptance.py`).

Dagster reads the types of an op as they are, so that annotations are not put off here.
"""

import dagster as dg
from pydantic import Field

from refinery_assets.assets.resources import (
    Warehouse,
    WarehouseHeldError,
    WarehouseMissingError,
    WarehouseUnusableError,
    pool_of,
    try_again_or_fail,
)
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings
from refinery_assets.feed.store import StoreError
from refinery_assets.warehouse.acceptance import WaiverError, accept, withdraw
from refinery_assets.warehouse.tables import ForeignTableError, LostRaceError

ACCEPT = "accept"


class Acceptance(dg.Config):
    """What is accepted, and why."""

    month: str = Field(description="the month, such as 2024-05")
    check_name: str = Field(description="the plausibility check that refuses it, such as month_is_new")
    why: str = Field(default="", description="the reason, which the check will quote; not to withdraw")
    who: str = Field(default="", description="who accepts it; left out: the UI; not to withdraw")
    withdraw: bool = Field(default=False, description="take the acceptance back")


def build_accept(settings: Settings) -> dg.JobDefinition:
    """The job; it is given its config in the Launchpad."""

    @dg.op(name="accept_month", pool=pool_of(settings))
    def accept_month(context: dg.OpExecutionContext, config: Acceptance, warehouse: Warehouse) -> None:
        try:
            month = Month.parse(config.month)
            with warehouse.get_connection() as connection:
                if config.withdraw:
                    withdraw(connection, month, config.check_name, why=config.why, who=config.who)
                    context.log.info(f"{config.check_name} of {month} is no longer accepted.")
                    return
                who = config.who or "the UI"
                waiver = accept(connection, settings, month, config.check_name, why=config.why, who=who)
        except (WarehouseHeldError, LostRaceError) as error:
            raise try_again_or_fail(error, context.retry_number, settings) from error
        except (
            ValueError,
            WaiverError,
            WarehouseMissingError,
            WarehouseUnusableError,
            ForeignTableError,
            StoreError,
        ) as error:
            raise dg.Failure(description=str(error), allow_retries=False) from error
        context.log.info(f"{waiver.sentence} Run {month} again to publish it.")

    @dg.job(name=ACCEPT, description="Accept a month that a plausibility check refuses, for the inputs it refused.")
    def accept_job() -> None:
        accept_month()

    return accept_job
