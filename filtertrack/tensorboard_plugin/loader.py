"""What TensorBoard imports when it starts: so little that it cannot fail.

An error while this module is imported would end TensorBoard, with every other tab. So it needs
nothing but TensorBoard itself; the rest is imported when the tab is loaded, where an error costs
no more than the tab.
"""

import argparse
import logging

from tensorboard.plugins import base_plugin

_IMAGES = 1000
_log = logging.getLogger("filtertrack")


class FiltersLoader(base_plugin.TBLoader):  # type: ignore[misc] # TensorBoard has no types
    """Makes the tab, and one flag: ``--filtertrack_all_images``."""

    def define_flags(self, parser: argparse.ArgumentParser) -> None:
        """Add the flag to TensorBoard's own."""
        parser.add_argument_group("filtertrack").add_argument(
            "--filtertrack_all_images",
            action="store_true",
            help=f"Keep {_IMAGES} steps of each image in the Images tab, not 10. It takes memory "
            "in the server. The tab Filters always shows every step.",
        )

    def fix_flags(self, flags: argparse.Namespace) -> None:
        """Lift the limit of the Images tab, if asked to; what the user says of it comes first."""
        if getattr(flags, "filtertrack_all_images", False):
            flags.samples_per_plugin = {"images": _IMAGES, **(flags.samples_per_plugin or {})}

    def load(self, context: base_plugin.TBContext) -> base_plugin.TBPlugin | None:
        """Return the tab, or None with a line in the log where it cannot be loaded."""
        try:
            from filtertrack.tensorboard_plugin.plugin import FiltersPlugin  # noqa: PLC0415

            return FiltersPlugin(context)
        except Exception:  # noqa: BLE001 - whatever it is, the other tabs are not ours to lose
            _log.exception("the tab Filters is left out")
            return None
