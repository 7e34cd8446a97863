// Addresses and pages. A page's whole state is in its address.

export interface Page {
  readonly element: HTMLElement;
  /** Called when the page is left. */
  readonly close?: () => void;
  /** Shows another query of the same path; without it the page is opened anew. */
  readonly update?: (query: URLSearchParams) => void;
}

export interface Route {
  readonly pattern: RegExp;
  readonly open: (id: number, query: URLSearchParams) => Promise<Page>;
}

export function navigate(path: string): void {
  history.pushState(null, "", path);
  window.dispatchEvent(new PopStateEvent("popstate"));
}

/** Changes the address without opening a page: what is shown has changed already. */
export function replaceQuery(query: URLSearchParams): void {
  const text = query.toString();
  history.replaceState(null, "", location.pathname + (text ? `?${text}` : ""));
}

/** Lets clicks on links of our own change the page without loading it again. */
export function interceptLinks(): void {
  document.addEventListener("click", (event) => {
    const link = event.target instanceof Element ? event.target.closest("a") : null;
    const isPlain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey;
    if (!link || !isPlain || link.hasAttribute("download") || link.origin !== location.origin) return;
    if (link.pathname.startsWith("/api/")) return;
    event.preventDefault();
    navigate(link.pathname + link.search);
  });
}
