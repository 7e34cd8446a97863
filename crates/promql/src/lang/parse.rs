//! Tokens to a tree.
//!
//! A parser of our own: it knows the place of every error, and no text can make it panic or
//! overflow the stack.

use model::series::{Labels, NAME};

use super::ast::{
    AggregateOp, At, BinaryOp, Cardinality, Expr, Kind, Matching, Moment, Selector, Type,
};
use super::check;
use super::functions;
use super::lex::{self, Token, TokenKind};
use super::matcher::{MatchOp, Matcher};
use crate::error::{Error, Place};

/// Longest query.
const MAX_BYTES: usize = 256 << 10;
/// Deepest tree.
const MAX_DEPTH: usize = 200;

/// Words of binary operators, which no series can have as its name where an operator may stand.
const WORD_OPERATORS: [(&str, BinaryOp); 4] = [
    ("or", BinaryOp::Or),
    ("and", BinaryOp::And),
    ("unless", BinaryOp::Unless),
    ("atan2", BinaryOp::Atan2),
];

const SIGN_OPERATORS: [(&str, BinaryOp); 12] = [
    ("==", BinaryOp::Equal),
    ("!=", BinaryOp::NotEqual),
    ("<=", BinaryOp::LessOrEqual),
    ("<", BinaryOp::Less),
    (">=", BinaryOp::GreaterOrEqual),
    (">", BinaryOp::Greater),
    ("+", BinaryOp::Add),
    ("-", BinaryOp::Sub),
    ("*", BinaryOp::Mul),
    ("/", BinaryOp::Div),
    ("%", BinaryOp::Mod),
    ("^", BinaryOp::Pow),
];

/// Words that are no metric's name.
const RESERVED: [&str; 6] = ["bool", "on", "ignoring", "group_left", "group_right", "atan2"];

/// What is wrong, and at which byte.
pub(super) enum Fault {
    Wrong(usize, String),
    Unsupported(usize, String),
}

type Parsed<T> = Result<T, Fault>;

/// Parses a query and checks its types. Returns how many selectors and subqueries it has, too.
///
/// # Errors
/// With the place.
pub(crate) fn parse(text: &str) -> Result<(Expr, usize), Error> {
    let run = || {
        let mut parser = Parser::new(text)?;
        let expr = parser.expression()?;
        parser.end()?;
        check::types(&expr)?;
        Ok((expr, parser.ids))
    };
    run().map_err(|fault| located(text, fault))
}

/// Parses a selector such as `up{job="x"}` to what its series must have.
///
/// # Errors
/// With the place.
pub fn parse_matchers(text: &str) -> Result<Vec<Matcher>, Error> {
    let (expr, _) = parse(text)?;
    match expr.kind {
        Kind::Selector(Selector {
            matchers, moment: Moment { offset: None, at: None }, ..
        }) => Ok(matchers),
        _ => Err(located(text, Fault::Wrong(expr.at, "expected a selector".to_owned()))),
    }
}

/// Parses the name and the labels of one series: `up{job="x"}`.
///
/// # Errors
/// With the place.
pub fn parse_metric(text: &str) -> Result<Labels, Error> {
    let run = || {
        let mut parser = Parser::new(text)?;
        let (matchers, _) = parser.name_and_matchers()?;
        parser.end()?;
        if let Some(other) = matchers.iter().find(|matcher| matcher.op != MatchOp::Equal) {
            return Err(Fault::Wrong(0, format!("a series has no condition like {other}")));
        }
        Ok(Labels::new(matchers.iter().map(|matcher| (&matcher.name, &matcher.value))))
    };
    run().map_err(|fault| located(text, fault))
}

fn located(text: &str, fault: Fault) -> Error {
    match fault {
        Fault::Wrong(at, message) => Error::Parse { place: Place::of(text, at), message },
        Fault::Unsupported(at, what) => Error::Unsupported { place: Place::of(text, at), what },
    }
}

struct Parser {
    tokens: Vec<Token>,
    place: usize,
    depth: usize,
    ids: usize,
}

impl Parser {
    fn new(text: &str) -> Parsed<Parser> {
        if text.len() > MAX_BYTES {
            return Err(Fault::Wrong(0, format!("a query has at most {MAX_BYTES} bytes")));
        }
        let tokens = lex::tokens(text)?;
        Ok(Parser { tokens, place: 0, depth: 0, ids: 0 })
    }

    fn peek(&self) -> &TokenKind {
        self.tokens.get(self.place).map_or(&TokenKind::End, |token| &token.kind)
    }

    fn peek_after(&self) -> &TokenKind {
        self.tokens.get(self.place + 1).map_or(&TokenKind::End, |token| &token.kind)
    }

    fn at(&self) -> usize {
        self.tokens.get(self.place).or(self.tokens.last()).map_or(0, |token| token.at)
    }

    fn next(&mut self) -> TokenKind {
        let token = self.peek().clone();
        self.place += 1;
        token
    }

    fn is_sign(&self, sign: &str) -> bool {
        matches!(self.peek(), TokenKind::Sign(known) if *known == sign)
    }

    /// Takes a sign, if it is next.
    fn takes(&mut self, sign: &str) -> bool {
        let found = self.is_sign(sign);
        self.place += usize::from(found);
        found
    }

    fn expects(&mut self, sign: &str, context: &str) -> Parsed<()> {
        if self.takes(sign) {
            return Ok(());
        }
        Err(self.unexpected(context, &format!("{sign:?}")))
    }

    fn unexpected(&self, context: &str, expected: &str) -> Fault {
        let found = match self.peek() {
            TokenKind::Word(word) => format!("identifier {word:?}"),
            TokenKind::Number(number) => format!("number {number}"),
            TokenKind::Duration(_) => "duration".to_owned(),
            TokenKind::Text(text) => format!("string {text:?}"),
            TokenKind::Sign(sign) => format!("{sign:?}"),
            TokenKind::End => "end of input".to_owned(),
        };
        Fault::Wrong(self.at(), format!("unexpected {found} in {context}, expected {expected}"))
    }

    fn end(&self) -> Parsed<()> {
        match self.peek() {
            TokenKind::End => Ok(()),
            _ => Err(self.unexpected("query", "end of input")),
        }
    }

    fn expression(&mut self) -> Parsed<Expr> {
        self.binary(1)
    }

    /// One level of nesting, bounded.
    fn nested<T>(&mut self, parse: impl FnOnce(&mut Parser) -> Parsed<T>) -> Parsed<T> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Fault::Wrong(self.at(), "query is nested too deeply".to_owned()));
        }
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    /// An expression, if it is not too high: whoever walks it walks it recursively.
    fn built(&self, kind: Kind, at: usize) -> Parsed<Expr> {
        let expr = Expr::new(kind, at);
        if expr.height > MAX_DEPTH {
            return Err(Fault::Wrong(at, "query is nested too deeply".to_owned()));
        }
        Ok(expr)
    }

    /// Operands joined by operators that bind at least so tightly.
    fn binary(&mut self, least: u8) -> Parsed<Expr> {
        let mut lhs = self.nested(Parser::unary)?;
        while let Some(op) = self.operator() {
            let precedence = op.precedence();
            if precedence < least {
                break;
            }
            let at = self.at();
            self.place += 1;
            let matching = self.matching()?;
            // `^` is the one that groups to the right.
            let above = if op == BinaryOp::Pow { precedence } else { precedence + 1 };
            let rhs = self.nested(|parser| parser.binary(above))?;
            let start = lhs.at;
            check::operator(op, &lhs, &rhs, &matching, at)?;
            let (left, rhs) = (Box::new(lhs), Box::new(rhs));
            lhs = self.built(Kind::Binary { op, lhs: left, rhs, matching }, start)?;
        }
        Ok(lhs)
    }

    fn operator(&self) -> Option<BinaryOp> {
        let found = match self.peek() {
            TokenKind::Sign(sign) => SIGN_OPERATORS.iter().find(|known| known.0 == *sign),
            TokenKind::Word(word) => {
                WORD_OPERATORS.iter().find(|known| word.eq_ignore_ascii_case(known.0))
            }
            _ => None,
        };
        found.map(|known| known.1)
    }

    fn word(&self) -> Option<String> {
        match self.peek() {
            TokenKind::Word(word) => Some(word.to_ascii_lowercase()),
            _ => None,
        }
    }

    fn takes_word(&mut self, word: &str) -> bool {
        let found = self.word().is_some_and(|known| known == word);
        self.place += usize::from(found);
        found
    }

    fn matching(&mut self) -> Parsed<Matching> {
        let mut matching = Matching { is_bool: self.takes_word("bool"), ..Matching::default() };
        match self.word().as_deref() {
            Some(word @ ("on" | "ignoring")) => {
                matching.is_on = word == "on";
                self.place += 1;
                matching.labels = self.label_list()?;
                self.grouping_side(&mut matching)?;
            }
            Some("group_left" | "group_right") => {
                return Err(self.unexpected("binary expression", "on or ignoring first"));
            }
            _ => {}
        }
        while let Some(word @ ("fill" | "fill_left" | "fill_right")) = self.word().as_deref() {
            if !matches!(self.peek_after(), TokenKind::Sign("(")) {
                break;
            }
            self.place += 2;
            let value = Some(self.signed_number("fill")?);
            self.expects(")", "fill")?;
            if word != "fill_right" {
                matching.fill_left = value;
            }
            if word != "fill_left" {
                matching.fill_right = value;
            }
        }
        Ok(matching)
    }

    fn grouping_side(&mut self, matching: &mut Matching) -> Parsed<()> {
        matching.cardinality = match self.word().as_deref() {
            Some("group_left") => Cardinality::ManyToOne,
            Some("group_right") => Cardinality::OneToMany,
            _ => return Ok(()),
        };
        self.place += 1;
        if self.is_sign("(") {
            matching.include = self.label_list()?;
        }
        Ok(())
    }

    fn signed_number(&mut self, context: &str) -> Parsed<f64> {
        let sign = if self.takes("-") { -1.0 } else { 1.0 };
        if sign > 0.0 {
            self.takes("+");
        }
        match *self.peek() {
            TokenKind::Number(number) => {
                self.place += 1;
                Ok(sign * number)
            }
            TokenKind::Duration(millis) => {
                self.place += 1;
                Ok(sign * millis as f64 / 1000.0)
            }
            _ => Err(self.unexpected(context, "number")),
        }
    }

    fn label_list(&mut self) -> Parsed<Vec<String>> {
        self.expects("(", "grouping opts")?;
        let mut labels = Vec::new();
        while !self.takes(")") {
            match self.next() {
                TokenKind::Word(word) if !word.contains(':') => labels.push(word),
                TokenKind::Text(text) if !text.is_empty() => labels.push(text),
                _ => {
                    self.place -= 1;
                    return Err(self.unexpected("grouping opts", "label"));
                }
            }
            if !self.is_sign(")") {
                self.expects(",", "grouping opts")?;
            }
        }
        Ok(labels)
    }

    fn unary(&mut self) -> Parsed<Expr> {
        let at = self.at();
        let negative = self.is_sign("-");
        if !negative && !self.is_sign("+") {
            return self.postfix();
        }
        self.place += 1;
        // A sign binds like `*`: -2^2 is -(2^2).
        let inner = self.nested(|parser| parser.binary(BinaryOp::Pow.precedence()))?;
        let kind = match inner.kind {
            Kind::Number(number) => Kind::Number(if negative { -number } else { number }),
            _ if negative => Kind::Negate(Box::new(inner)),
            _ => Kind::Paren(Box::new(inner)),
        };
        self.built(kind, at)
    }

    /// An operand with what may follow it: ranges, `offset`, `@`.
    fn postfix(&mut self) -> Parsed<Expr> {
        let mut expr = self.operand()?;
        loop {
            if self.is_sign("[") {
                expr = self.range(expr)?;
            } else if self.is_sign("@") {
                self.at_modifier(&mut expr)?;
            } else if self.word().is_some_and(|word| word == "offset") {
                self.offset(&mut expr)?;
            } else {
                return self.no_extension(expr);
            }
        }
    }

    /// Says of the newer modifiers that they are not supported, instead of "unexpected".
    fn no_extension(&self, expr: Expr) -> Parsed<Expr> {
        match self.word().as_deref() {
            Some(word @ ("smoothed" | "anchored")) => {
                Err(Fault::Unsupported(self.at(), format!("the modifier {word}")))
            }
            _ => match self.peek() {
                TokenKind::Sign(sign @ ("</" | ">/")) => {
                    Err(Fault::Unsupported(self.at(), format!("the operator {sign}")))
                }
                _ => Ok(expr),
            },
        }
    }

    /// A duration: milliseconds.
    fn duration(&mut self, context: &str) -> Parsed<i64> {
        let at = self.at();
        let millis = match self.next() {
            TokenKind::Duration(millis) => millis,
            TokenKind::Number(seconds) if seconds.abs() < 1e12 => (seconds * 1000.0) as i64,
            TokenKind::Number(_) => {
                return Err(Fault::Wrong(at, "duration out of range".to_owned()));
            }
            TokenKind::Sign("(" | "-" | "+") | TokenKind::Word(_) => {
                return Err(Fault::Unsupported(at, "an expression as a duration".to_owned()));
            }
            _ => {
                self.place -= 1;
                return Err(self.unexpected(context, "duration"));
            }
        };
        let computed = matches!(self.peek(), TokenKind::Sign("+" | "-" | "*" | "/" | "%" | "^"));
        if computed && context != "offset" {
            return Err(Fault::Unsupported(self.at(), "an expression as a duration".to_owned()));
        }
        Ok(millis)
    }

    fn range(&mut self, expr: Expr) -> Parsed<Expr> {
        let bracket = self.at();
        self.place += 1;
        let range = self.duration("subquery or range")?;
        if range <= 0 {
            return Err(Fault::Wrong(bracket, "duration must be greater than 0".to_owned()));
        }
        if self.takes(":") {
            let step = if self.is_sign("]") { None } else { Some(self.duration("subquery")?) };
            if step.is_some_and(|step| step <= 0) {
                return Err(Fault::Wrong(bracket, "duration must be greater than 0".to_owned()));
            }
            self.expects("]", "subquery selector")?;
            let (at, id) = (expr.at, self.id());
            let (expr, moment) = (Box::new(expr), Moment::default());
            return self.built(Kind::Subquery { id, expr, range, step, moment }, at);
        }
        self.expects("]", "subquery or range")?;
        match expr.kind {
            Kind::Selector(selector) => {
                if selector.moment.offset.is_some() {
                    let message = "no offset modifiers allowed before range".to_owned();
                    return Err(Fault::Wrong(bracket, message));
                }
                if selector.moment.at.is_some() {
                    let message = "no @ modifiers allowed before range".to_owned();
                    return Err(Fault::Wrong(bracket, message));
                }
                self.built(Kind::Matrix { selector, range }, expr.at)
            }
            _ => {
                let message = "ranges only allowed for vector selectors".to_owned();
                Err(Fault::Wrong(bracket, message))
            }
        }
    }

    fn id(&mut self) -> usize {
        self.ids += 1;
        self.ids - 1
    }

    fn moment_of(expr: &mut Expr) -> Option<&mut Moment> {
        match &mut expr.kind {
            Kind::Selector(selector) | Kind::Matrix { selector, .. } => Some(&mut selector.moment),
            Kind::Subquery { moment, .. } => Some(moment),
            _ => None,
        }
    }

    fn offset(&mut self, expr: &mut Expr) -> Parsed<()> {
        let at = self.at();
        self.place += 1;
        let sign = if self.takes("-") { -1 } else { 1 };
        if sign > 0 {
            self.takes("+");
        }
        let millis = sign * self.duration("offset")?;
        let wrong = |message: &str| Err(Fault::Wrong(at, message.to_owned()));
        match Parser::moment_of(expr) {
            None => wrong(
                "offset modifier must be preceded by an instant vector selector or range vector \
                 selector or a subquery",
            ),
            Some(moment) if moment.offset.is_some() => {
                wrong("offset may not be set multiple times")
            }
            Some(moment) => {
                moment.offset = Some(millis);
                Ok(())
            }
        }
    }

    fn at_modifier(&mut self, expr: &mut Expr) -> Parsed<()> {
        let place = self.at();
        self.place += 1;
        let wrong = |message: &str| Err(Fault::Wrong(place, message.to_owned()));
        let at = match self.word().as_deref() {
            Some(word @ ("start" | "end")) => {
                self.place += 1;
                self.expects("(", "@")?;
                self.expects(")", "@")?;
                if word == "start" { At::Start } else { At::End }
            }
            _ => {
                let seconds = self.signed_number("@")?;
                // As Prometheus: what does not fit in 64-bit milliseconds is refused.
                if !seconds.is_finite() || seconds.abs() >= 9e15 {
                    return wrong("timestamp out of bounds for @ modifier");
                }
                At::Time((seconds * 1000.0).round() as i64)
            }
        };
        match Parser::moment_of(expr) {
            None => wrong(
                "@ modifier must be preceded by an instant vector selector or range vector \
                 selector or a subquery",
            ),
            Some(moment) if moment.at.is_some() => {
                wrong("@ <timestamp> may not be set multiple times")
            }
            Some(moment) => {
                moment.at = Some(at);
                Ok(())
            }
        }
    }

    fn operand(&mut self) -> Parsed<Expr> {
        let at = self.at();
        let kind = match self.peek().clone() {
            TokenKind::Number(number) => {
                self.place += 1;
                Kind::Number(number)
            }
            TokenKind::Duration(millis) => {
                self.place += 1;
                Kind::Number(millis as f64 / 1000.0)
            }
            TokenKind::Text(text) => {
                self.place += 1;
                Kind::Text(text)
            }
            TokenKind::Sign("(") => {
                self.place += 1;
                let inner = self.nested(Parser::expression)?;
                self.expects(")", "paren expression")?;
                Kind::Paren(Box::new(inner))
            }
            TokenKind::Sign("{") => self.selector()?,
            TokenKind::Word(word) => return self.named(&word),
            _ => return Err(self.unexpected("query", "an expression")),
        };
        self.built(kind, at)
    }

    /// What starts with a name: an aggregation, a call or a selector.
    fn named(&mut self, word: &str) -> Parsed<Expr> {
        let at = self.at();
        let lower = word.to_ascii_lowercase();
        let calls = matches!(self.peek_after(), TokenKind::Sign("("));
        let groups = matches!(self.peek_after(), TokenKind::Word(next)
            if next.eq_ignore_ascii_case("by") || next.eq_ignore_ascii_case("without"));
        let aggregate = AggregateOp::ALL.iter().find(|known| known.0 == lower);
        let kind = match aggregate {
            Some((_, op)) if calls || groups => self.aggregation(*op)?,
            _ if calls && functions::is_unsupported(word) => {
                return Err(Fault::Unsupported(at, format!("the function {word}")));
            }
            _ if calls && !RESERVED.contains(&lower.as_str()) => {
                let function = functions::find(word).ok_or_else(|| {
                    Fault::Wrong(at, format!("unknown function with name {word:?}"))
                })?;
                self.place += 1;
                let args = self.args()?;
                Kind::Call { function, args }
            }
            _ if RESERVED.contains(&lower.as_str()) => {
                return Err(self.unexpected("query", "an expression"));
            }
            _ => self.selector()?,
        };
        self.built(kind, at)
    }

    fn args(&mut self) -> Parsed<Vec<Expr>> {
        self.expects("(", "function call")?;
        let mut args = Vec::new();
        while !self.takes(")") {
            args.push(self.nested(Parser::expression)?);
            if self.is_sign(")") {
                continue;
            }
            self.expects(",", "function call")?;
            if self.is_sign(")") {
                let message = "trailing commas not allowed in function call args".to_owned();
                return Err(Fault::Wrong(self.at(), message));
            }
        }
        Ok(args)
    }

    fn aggregation(&mut self, op: AggregateOp) -> Parsed<Kind> {
        let at = self.at();
        self.place += 1;
        let mut grouping = self.grouping()?;
        let mut args = self.args()?;
        if grouping.is_none() {
            grouping = self.grouping()?;
        }
        let (grouping, without) = grouping.unwrap_or_default();
        let wanted = if op.param().is_some() { 2 } else { 1 };
        if args.len() != wanted {
            let message = format!(
                "wrong number of arguments for aggregate expression provided, expected {wanted}, \
                 got {}",
                args.len()
            );
            return Err(Fault::Wrong(at, message));
        }
        let expr = Box::new(args.pop().unwrap_or_else(|| Expr::new(Kind::Number(0.0), at)));
        let param = args.pop().map(Box::new);
        Ok(Kind::Aggregate { op, expr, param, grouping, without })
    }

    fn grouping(&mut self) -> Parsed<Option<(Vec<String>, bool)>> {
        let without = match self.word().as_deref() {
            Some("by") => false,
            Some("without") => true,
            _ => return Ok(None),
        };
        self.place += 1;
        Ok(Some((self.label_list()?, without)))
    }

    fn selector(&mut self) -> Parsed<Kind> {
        let at = self.at();
        let (matchers, is_named) = self.name_and_matchers()?;
        let selector = Selector { id: self.id(), matchers, is_named, moment: Moment::default() };
        check::selector(&selector, at)?;
        Ok(Kind::Selector(selector))
    }

    /// Matchers, and whether the last is for a name before the braces.
    fn name_and_matchers(&mut self) -> Parsed<(Vec<Matcher>, bool)> {
        let at = self.at();
        let name = match self.peek().clone() {
            TokenKind::Word(word) => {
                self.place += 1;
                Some(word)
            }
            TokenKind::Sign("{") => None,
            _ => return Err(self.unexpected("series", "a name or \"{\"")),
        };
        let mut matchers = if self.takes("{") { self.matchers()? } else { Vec::new() };
        let is_named = name.is_some();
        if let Some(name) = name {
            matchers.push(matcher(NAME, MatchOp::Equal, &name, at)?);
        }
        Ok((matchers, is_named))
    }

    fn matchers(&mut self) -> Parsed<Vec<Matcher>> {
        let mut matchers = Vec::new();
        while !self.takes("}") {
            let at = self.at();
            let (name, is_quoted) = match self.next() {
                TokenKind::Word(word) if !word.contains(':') => (word, false),
                TokenKind::Text(text) => (text, true),
                _ => {
                    self.place -= 1;
                    return Err(self.unexpected("label matching", "identifier or \"}\""));
                }
            };
            matchers.push(self.matcher(&name, is_quoted, at)?);
            if !self.is_sign("}") {
                self.expects(",", "label matching")?;
            }
        }
        Ok(matchers)
    }

    fn matcher(&mut self, name: &str, is_quoted: bool, at: usize) -> Parsed<Matcher> {
        let op = match self.peek() {
            TokenKind::Sign("=") => MatchOp::Equal,
            TokenKind::Sign("!=") => MatchOp::NotEqual,
            TokenKind::Sign("=~") => MatchOp::Regex,
            TokenKind::Sign("!~") => MatchOp::NotRegex,
            // A quoted text alone is the metric's name.
            TokenKind::Sign("," | "}") if is_quoted => {
                return matcher(NAME, MatchOp::Equal, name, at);
            }
            _ => return Err(self.unexpected("label matching", "label matching operator")),
        };
        self.place += 1;
        match self.next() {
            TokenKind::Text(value) => matcher(name, op, &value, at),
            _ => {
                self.place -= 1;
                Err(self.unexpected("label matching", "string"))
            }
        }
    }
}

fn matcher(name: &str, op: MatchOp, value: &str, at: usize) -> Parsed<Matcher> {
    Matcher::new(name, op, value).map_err(|message| Fault::Wrong(at, message))
}

/// Says what an argument must be.
pub(super) fn expect(expr: &Expr, wanted: Type, context: &str) -> Parsed<()> {
    let found = expr.kind_of_result();
    if found == wanted {
        return Ok(());
    }
    let (wanted, found) = (wanted.as_str(), found.as_str());
    Err(Fault::Wrong(expr.at, format!("expected type {wanted} in {context}, got {found}")))
}

#[cfg(test)]
mod tests {
    use super::{parse, parse_matchers, parse_metric};

    fn fails(text: &str, expected: &str) {
        match parse(text) {
            Ok(_) => panic!("{text} parses"),
            Err(error) => assert_eq!(error.to_string(), expected, "{text}"),
        }
    }

    #[test]
    fn what_is_wrong_has_its_place() {
        fails("sum(", "1:5: unexpected end of input in query, expected an expression");
        fails(
            "rate(up)",
            "1:6: expected type range vector in call to function \"rate\", got instant vector",
        );
        fails("up\n  + {}", "2:5: vector selector must contain at least one non-empty matcher");
        fails("foo(up)", "1:1: unknown function with name \"foo\"");
        fails("1 > 2", "1:3: comparisons between scalars must use BOOL modifier");
        fails("up and 1", "1:4: set operator \"and\" not allowed in binary scalar expression");
        fails("up[5m] offset 1m offset 2m", "1:18: offset may not be set multiple times");
        fails("up{a=~\"(\"}", "1:4: \"(\" is no regular expression: unclosed group");
        fails("up[1e30]", "1:4: duration out of range");
        fails("up[5q]", "1:4: bad number or duration syntax: \"5q\"");
        fails("info(up)", "1:1: the function info is not supported here");
        fails("up[5m + 1m]", "1:7: an expression as a duration is not supported here");
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = "(".repeat(100_000) + "1" + &")".repeat(100_000);
        assert!(parse(&deep).is_err());
        assert!(parse(&("1".to_owned() + &"+1".repeat(10_000))).is_err());
        assert!(parse(&("up".to_owned() + &"[1m:]".repeat(10_000))).is_err());
        assert!(parse(&"-".repeat(10_000)).is_err());
        assert!(parse(&("1".to_owned() + &" + 1".repeat(150))).is_ok());
        // Each level is allowed by itself, all together are not.
        let mut text = "1".to_owned();
        for _ in 0..50 {
            text = format!("({text}{})", " + 1".repeat(100));
        }
        assert!(parse(&text).is_err());
    }

    #[test]
    fn series_and_selectors_are_read() {
        let labels = parse_metric(r#"up{job="x", "a.b"='y'}"#).unwrap();
        assert_eq!(labels.to_string(), r#"up{a.b="y", job="x"}"#);
        assert!(parse_metric("up{job!=\"x\"}").is_err());
        assert_eq!(parse_matchers(r#"{"up", job=~"a|b"}"#).unwrap().len(), 2);
        assert!(parse_matchers("sum(up)").is_err());
    }
}
