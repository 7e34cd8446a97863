//! Units: scaling, labels and percentages (internal/measurement).

/// A unit: its name, the names it goes by, and its size in the smallest one.
struct Unit {
    name: &'static str,
    aliases: &'static [&'static str],
    factor: f64,
}

/// Units of one quantity, and the one for values that fit none.
struct Quantity {
    units: &'static [Unit],
    default: Unit,
}

const fn unit(name: &'static str, aliases: &'static [&'static str], factor: f64) -> Unit {
    Unit { name, aliases, factor }
}

const KIB: f64 = 1024.0;

static QUANTITIES: [Quantity; 3] = [
    Quantity {
        units: &[
            unit("B", &["b", "byte"], 1.0),
            unit("kB", &["kb", "kbyte", "kilobyte"], KIB),
            unit("MB", &["mb", "mbyte", "megabyte"], KIB * KIB),
            unit("GB", &["gb", "gbyte", "gigabyte"], KIB * KIB * KIB),
            unit("TB", &["tb", "tbyte", "terabyte"], KIB * KIB * KIB * KIB),
            unit("PB", &["pb", "pbyte", "petabyte"], KIB * KIB * KIB * KIB * KIB),
        ],
        default: unit("B", &[], 1.0),
    },
    Quantity {
        units: &[
            unit("ns", &["ns", "nanosecond"], 1.0),
            unit("us", &["μs", "us", "microsecond"], 1e3),
            unit("ms", &["ms", "millisecond"], 1e6),
            unit("s", &["s", "sec", "second"], 1e9),
            unit("hrs", &["hour", "hr"], 3600e9),
        ],
        default: unit("s", &[], 1e9),
    },
    Quantity {
        units: &[
            unit("n*GCU", &["nanogcu"], 1e-9),
            unit("u*GCU", &["microgcu"], 1e-6),
            unit("m*GCU", &["milligcu"], 1e-3),
            unit("GCU", &["gcu"], 1.0),
            unit("k*GCU", &["kilogcu"], 1e3),
            unit("M*GCU", &["megagcu"], 1e6),
            unit("G*GCU", &["gigagcu"], 1e9),
            unit("T*GCU", &["teragcu"], 1e12),
            unit("P*GCU", &["petagcu"], 1e15),
        ],
        default: unit("GCU", &[], 1.0),
    },
];

impl Quantity {
    /// The unit that goes by `name`: any case, plural or not.
    fn find(&self, name: &str) -> Option<&Unit> {
        let lower = name.to_lowercase();
        let singular = lower.strip_suffix('s').filter(|_| lower.len() > 2).unwrap_or(&lower);
        self.units.iter().find(|unit| unit.aliases.contains(&singular))
    }

    fn convert(&self, value: i64, from: &str, to: &str) -> Option<(f64, &'static str)> {
        let value = value as f64 * self.find(from)?.factor;
        let is_automatic = to == "minimum" || to == "auto";
        let chosen = match is_automatic {
            true => self.units.iter().rfind(|unit| value / unit.factor >= 1.0),
            false => self.find(to),
        };
        let unit = chosen.unwrap_or(&self.default);
        Some((value / unit.factor, unit.name))
    }
}

/// Scales `value` from one unit to another; `minimum` and `auto` choose one.
/// The unit that comes back is empty where it says nothing.
pub fn scale<'a>(value: i64, from: &str, to: &'a str) -> (f64, &'a str) {
    if value < 0 && value != i64::MIN {
        let (scaled, unit) = scale(-value, from, to);
        return (-scaled, unit);
    }
    let converted = QUANTITIES.iter().find_map(|quantity| quantity.convert(value, from, to));
    converted.unwrap_or(match to {
        "count" | "sample" | "unit" | "minimum" | "auto" => (value as f64, ""),
        _ => (value as f64, to),
    })
}

/// Reports whether both name units of the same quantity.
pub fn are_same_quantity(a: &str, b: &str) -> bool {
    QUANTITIES.iter().any(|quantity| quantity.find(a).is_some() && quantity.find(b).is_some())
}

/// `1.50MB`.
pub fn scaled_label(value: i64, from: &str, to: &str) -> String {
    let (scaled, unit) = scale(value, from, to);
    let text = format!("{scaled:.2}");
    let text = text.strip_suffix(".00").unwrap_or(&text);
    match text {
        "0" | "-0" => "0".to_owned(),
        _ => format!("{text}{unit}"),
    }
}

/// `1.50MB`, in the unit that fits.
pub fn label(value: i64, unit: &str) -> String {
    scaled_label(value, unit, "auto")
}

/// A share in percent, six characters wide where it fits.
pub fn percentage(value: i64, total: i64) -> String {
    let ratio = match total {
        0 => 0.0,
        _ => (value as f64 / total as f64).abs() * 100.0,
    };
    if (99.95..=100.05).contains(&ratio) {
        return "  100%".to_owned();
    }
    match ratio >= 1.0 {
        true => format!("{ratio:5.2}%"),
        false => format!("{:>5}%", two_digits(ratio)),
    }
}

/// A number from 0 to 1 as C's `%.2g` writes it.
fn two_digits(ratio: f64) -> String {
    if ratio == 0.0 {
        return "0".to_owned();
    }
    let text = format!("{ratio:.1e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let digits = digits.strip_suffix(".0").unwrap_or(digits);
    match exponent.parse::<i32>().unwrap_or(0) {
        0.. => digits.to_owned(),
        exponent @ -4..0 => {
            let zeros = "0".repeat((-exponent - 1) as usize);
            format!("0.{zeros}{}", digits.replace('.', ""))
        }
        exponent => format!("{digits}e-{:02}", -exponent),
    }
}
