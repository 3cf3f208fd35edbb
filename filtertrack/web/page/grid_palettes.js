// The colours in which grids are drawn: of each part, and of maps of responses.

import {GridColours} from "./cell_pixels.js";
import {requestPalette} from "./requests.js";
import {currentTheme} from "./theme.js";

export class GridPalettes {
  /** @param {object} settings the answer of /settings */
  constructor(settings) {
    this.settings = settings;
    this.palettes = new Map(); // colormap -> bytes
  }

  /**
   * The colours for the theme: {filters, learned, rectified, signed}, each GridColours.
   * @param {string} chosen colormap; empty for the usual ones
   */
  async coloursFor(chosen) {
    const {colormaps: {filters, learned}, diverging, not_finite, separators} = this.settings;
    const isDiverging = diverging.includes(chosen);
    const names = {
      filters: chosen || filters, learned: chosen || learned,
      rectified: isDiverging ? filters : chosen || filters, signed: isDiverging ? chosen : learned,
    };
    const palettes = await Promise.all(Object.values(names).map(name => this.request(name)));
    const separator = separators[currentTheme()];
    return Object.fromEntries(Object.keys(names).map((name, n) => [name, new GridColours(palettes[n], not_finite, separator)]));
  }

  /** The colours of outlines for the theme: label -> RGB. */
  get outlines() {
    return this.settings.outlines[currentTheme()];
  }

  /** The bytes of a colormap, which are requested once. */
  async request(name) {
    if (!this.palettes.has(name)) this.palettes.set(name, await requestPalette(name));
    return this.palettes.get(name);
  }
}
