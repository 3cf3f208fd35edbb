// What is looked at stays in the browser's address, beside TensorBoard's own part of it: after a
// reload, and for someone who is sent the link. TensorBoard leaves "p.<plugin>.<key>" to plugins.

const PREFIX = "p.filtertrack.";
const EVERY = 400; // milliseconds: browsers refuse more than about a hundred changes a minute

function pieces() {
  return window.parent.location.hash.replace(/^#/, "").split("&").filter(Boolean);
}

/** What the address says: name to text. */
export function readAddress() {
  try {
    const own = pieces().filter(piece => piece.startsWith(PREFIX));
    return Object.fromEntries(own.map(piece => {
      const [name, value = ""] = piece.slice(PREFIX.length).split("=");
      return [name, decodeURIComponent(value)];
    }));
  } catch {
    return {}; // not below TensorBoard, or an address that was cut off
  }
}

let waiting = null;

/** Put name to text into the address, soon; empty ones are left out. */
export function writeAddress(values) {
  const isFirst = waiting === null;
  waiting = values;
  if (isFirst) setTimeout(write, EVERY);
}

function write() {
  const values = waiting;
  waiting = null;
  try {
    const others = pieces().filter(piece => !piece.startsWith(PREFIX));
    if (others.length && others[0] !== "filtertrack") return; // another tab is in front now
    const own = Object.entries(values)
      .filter(([, value]) => value !== "" && value !== null)
      .map(([name, value]) => `${PREFIX}${name}=${encodeURIComponent(value)}`);
    const hash = "#" + [...(others.length ? others : ["filtertrack"]), ...own].join("&");
    if (hash !== window.parent.location.hash) window.parent.history.replaceState(window.parent.history.state, "", hash);
  } catch {
    // A page around TensorBoard that does not let us: then the address just stays as it is.
  }
}
