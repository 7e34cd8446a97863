// Quantities as people read them; the same rules as the command line.

export function bytes(value: number): string {
  const size = Math.abs(value);
  const sign = value < 0 ? "-" : "";
  if (size < 1024) return `${sign}${Math.round(size)} B`;
  const units = ["KiB", "MiB", "GiB", "TiB", "PiB"];
  let scaled = size / 1024;
  let unit = 0;
  while (scaled >= 1023.5 && unit + 1 < units.length) {
    scaled /= 1024;
    unit += 1;
  }
  const digits = scaled < 9.995 ? 2 : scaled < 99.95 ? 1 : 0;
  return `${sign}${scaled.toFixed(digits)} ${units[unit]}`;
}

export function quantity(value: number, unit: string): string {
  if (unit === "bytes") return bytes(value);
  if (unit === "nanoseconds") return `${(value / 1e9).toFixed(3)} s`;
  return Math.round(value).toLocaleString("en");
}

export function change(value: number, unit: string): string {
  return (value > 0 ? "+" : "") + quantity(value, unit);
}

export function percent(part: number, whole: number): string {
  return whole === 0 ? "-" : `${((100 * part) / Math.abs(whole)).toFixed(1)} %`;
}

export function duration(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined) return "never";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${(seconds / 3600).toFixed(1)} h`;
  return `${(seconds / 86_400).toFixed(1)} d`;
}

/** Short times, as probes measure them. */
export function span(seconds: number): string {
  if (seconds < 1e-3) return `${(seconds * 1e6).toFixed(0)} µs`;
  if (seconds < 1) return `${(seconds * 1e3).toFixed(seconds < 0.01 ? 1 : 0)} ms`;
  return seconds < 90 ? `${seconds.toFixed(1)} s` : duration(seconds);
}

export function clock(ms: number): string {
  return new Date(ms).toLocaleTimeString("en-GB");
}

export function day(ms: number): string {
  return new Date(ms).toLocaleString("en-GB");
}
