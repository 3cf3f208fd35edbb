"""The loader of the tab, which TensorBoard imports when it starts.

An error while this module is imported would end TensorBoard with all its tabs. So it imports only
TensorBoard itself; the plugin is imported in ``load``, where an error costs only this tab.
"""

import argparse
import logging

from tensorboard.plugins import base_plugin

_ALL_IMAGES = 1000
_log = logging.getLogger("filtertrack")


class FiltersLoader(base_plugin.TBLoader):  # type: ignore[misc] # TensorBoard has no types
    """Creates the tab, and defines one flag: ``--filtertrack_all_images``."""

    def define_flags(self, parser: argparse.ArgumentParser) -> None:
        """Add the flag to TensorBoard's own."""
        parser.add_argument_group("filtertrack").add_argument(
            "--filtertrack_all_images",
            action="store_true",
            help=f"Keep {_ALL_IMAGES} steps of each image in the Images tab, not 10. It takes "
            "memory in the server. The tab Filters always shows every step.",
        )

    def fix_flags(self, flags: argparse.Namespace) -> None:
        """Raise the limit of the Images tab if requested, unless ``--samples_per_plugin`` has one.

        Args:
            flags: TensorBoard's parsed flags, changed in place.
        """
        if getattr(flags, "filtertrack_all_images", False):
            flags.samples_per_plugin = {"images": _ALL_IMAGES, **(flags.samples_per_plugin or {})}

    def load(self, context: base_plugin.TBContext) -> base_plugin.TBPlugin | None:
        """Return the tab; None, with an error in the log, if it cannot be loaded."""
        try:
            from filtertrack.tensorboard_plugin.plugin import FiltersPlugin  # noqa: PLC0415

            return FiltersPlugin(context)
        except Exception:  # noqa: BLE001 - no error of this tab may cost the others
            _log.exception("the tab Filters is left out")
            return None
