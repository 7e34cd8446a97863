// Pieces that several pages show.

import { ApiFailure, type Diagnosis, type Finding } from "../api";
import { h } from "../dom";

export function verdict(kind: string | null, isLeak: boolean, confidence: number | null): HTMLElement {
  if (!kind) return h("span", { class: "dim" }, "no verdict yet");
  const look = isLeak ? "leak" : kind === "healthy" ? "healthy" : "other";
  const sure = confidence && kind !== "insufficient-evidence" ? ` ${Math.round(confidence * 100)} %` : "";
  return h("span", { class: `verdict ${look}` }, kind.replaceAll("-", " ") + sure);
}

function findingCard(finding: Finding, isFirst: boolean): HTMLElement {
  const site = finding.sites[0];
  return h(
    "section",
    { class: "card", "data-testid": "finding" },
    h("p", {}, verdict(finding.kind, finding.leak, finding.confidence), " ", h("b", {}, finding.summary)),
    isFirst && h("ul", {}, ...finding.evidence.map((line) => h("li", {}, line))),
    isFirst && site
      ? h(
          "details",
          { open: true },
          h("summary", {}, "allocation stack"),
          ...site.stack.map((frame) =>
            h("div", { class: "stack mono" }, frame.function, " ", h("span", { class: "dim" }, `${frame.file}:${frame.line}`)),
          ),
        )
      : null,
    isFirst && finding.retainers.length
      ? h("div", { "data-testid": "retainers" }, h("p", { class: "dim" }, "kept alive by"),
          ...finding.retainers.map(({ path }) => h("div", { class: "stack mono" }, path.join(" → "))))
      : null,
    finding.captures.length
      ? h("p", {}, "seen in ", ...finding.captures.map((id) => h("a", { href: `/capture/${id}` }, `capture ${id} `)))
      : null,
    h("p", { class: "dim" }, `next: ${finding.next}`),
  );
}

export function diagnosisCards(diagnosis: Diagnosis | null): HTMLElement[] {
  if (!diagnosis) return [h("p", { class: "dim" }, "no verdict yet")];
  const shown = diagnosis.findings.filter((finding, index) => index === 0 || finding.confidence >= 0.5);
  return [
    ...shown.map((finding, index) => findingCard(finding, index === 0)),
    ...diagnosis.warnings.map((text) => h("p", { class: "error" }, text)),
  ];
}

/** What went wrong, and what to do. */
export function failed(error: unknown): HTMLElement[] {
  const next = error instanceof ApiFailure ? error.next : "";
  const text = error instanceof Error ? error.message : String(error);
  return [h("p", { class: "error", "data-testid": "failure" }, text), h("p", {}, next)];
}
