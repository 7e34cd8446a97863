// The overlay that lists the keys.

import { h } from "../../dom";
import { VIEWS } from "./state";

const KEYS: readonly (readonly [string, string])[] = [
  ["arrows or W A S D", "move between frames; move the graph"],
  ["Enter", "zoom to the frame; open what was cut"],
  ["Backspace", "zoom out by one"],
  ["Escape", "zoom out to all; close what is open"],
  ["m", "what can be done with the frame (as double or right click)"],
  ["/", "search"],
  ["+ - 0", "zoom the graph; all of it"],
  [`1 to ${VIEWS.length}`, `views: ${VIEWS.join(", ")}`],
  ["?", "this list"],
];

export function helpOverlay(): HTMLDialogElement {
  const rows = KEYS.map(([key, text]) => h("tr", {}, h("td", {}, h("kbd", {}, key)), h("td", {}, text)));
  const dialog = h("dialog", { class: "help", "data-testid": "help" }, h("h2", {}, "keys"), h("table", {}, h("tbody", {}, ...rows)),
    h("p", { class: "dim" }, "Everything shown is in the address: copy it to share the view."));
  dialog.addEventListener("click", () => dialog.close());
  return dialog;
}
