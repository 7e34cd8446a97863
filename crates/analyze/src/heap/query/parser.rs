//! Reads a query: a recursive descent of bounded depth.

use super::QueryError;
use super::lexer::{Token, lex};
use super::syntax::{Aggregate, Column, Expr, Item, Operator, Summing, Syntax};
use super::value::Value;
use crate::names::{distance, fold};
use crate::pprof::regexp::Pattern;

/// Expressions nest no deeper.
const DEPTH_MAX: usize = 64;

/// A query has no more parts than these: patterns take memory.
const PARTS_MAX: usize = 256;

const KEYWORDS: [&str; 19] = [
    "select", "from", "where", "group", "by", "having", "order", "limit", "as", "asc", "desc",
    "and", "or", "not", "in", "is", "null", "true", "false",
];

const FUNCTIONS: [(&str, Summing); 6] = [
    ("count", Summing::Count),
    ("sum", Summing::Sum),
    ("min", Summing::Least),
    ("max", Summing::Most),
    ("avg", Summing::Mean),
    ("retained", Summing::Retained),
];

pub(super) fn parse(text: &str) -> Result<Syntax, QueryError> {
    let mut parser =
        Parser { tokens: lex(text)?, at: 0, depth: 0, parts: 0, query: Syntax::default(), text };
    parser.query()?;
    Ok(parser.query)
}

struct Parser<'t> {
    text: &'t str,
    tokens: Vec<(Token, usize)>,
    at: usize,
    depth: usize,
    parts: usize,
    query: Syntax,
}

impl Parser<'_> {
    fn query(&mut self) -> Result<(), QueryError> {
        self.expect_word("select")?;
        self.items()?;
        self.expect_word("from")?;
        if !self.take_word("objects") {
            return Err(self.refuse("the only table is `objects`"));
        }
        if self.take_word("where") {
            let at = self.offset();
            let filter = self.expression()?;
            refuse_aggregates(&filter, at, "where")?;
            self.query.filter = Some(filter);
        }
        if self.take_word("group") {
            self.expect_word("by")?;
            self.groups()?;
        }
        if self.take_word("having") {
            self.query.having = Some(self.expression()?);
        }
        if self.take_word("order") {
            self.expect_word("by")?;
            self.order()?;
        }
        if self.take_word("limit") {
            let Token::Int(count) = self.peek().clone() else {
                return Err(self.refuse("limit takes a number"));
            };
            self.query.limit = Some(usize::try_from(count).unwrap_or(usize::MAX));
            self.at += 1;
        }
        self.take_sign(";");
        match self.peek() {
            Token::End => Ok(()),
            _ => Err(self.refuse("expected the end of the query")),
        }
    }

    fn items(&mut self) -> Result<(), QueryError> {
        if self.take_sign("*") {
            for name in ["address", "type", "bytes", "retained"] {
                let column = Column::ALL.iter().find(|(known, _)| *known == name);
                if let Some((_, column)) = column {
                    let (expr, name, at) = (Expr::Column(*column), name.to_owned(), 0);
                    self.query.items.push(Item { expr, name, at });
                }
            }
            return Ok(());
        }
        loop {
            let at = self.offset();
            let expr = self.expression()?;
            let end = self.offset();
            let written = self.text.get(at..end).unwrap_or("").trim().to_owned();
            let name = if self.take_word("as") { self.name()? } else { written };
            self.query.items.push(Item { expr, name, at });
            if !self.take_sign(",") {
                return Ok(());
            }
        }
    }

    fn groups(&mut self) -> Result<(), QueryError> {
        loop {
            let at = self.offset();
            let expr = self.expression()?;
            let expr = self.item_of(expr, at)?;
            refuse_aggregates(&expr, at, "group by")?;
            self.query.group.push(expr);
            if !self.take_sign(",") {
                return Ok(());
            }
        }
    }

    fn order(&mut self) -> Result<(), QueryError> {
        loop {
            let at = self.offset();
            let expr = self.expression()?;
            let expr = self.item_of(expr, at)?;
            let is_descending = self.take_word("desc");
            if !is_descending {
                self.take_word("asc");
            }
            self.query.order.push((expr, is_descending));
            if !self.take_sign(",") {
                return Ok(());
            }
        }
    }

    /// The item that a number stands for: `order by 3`.
    fn item_of(&mut self, expr: Expr, at: usize) -> Result<Expr, QueryError> {
        let Expr::Literal(Value::Int(number)) = expr else { return Ok(expr) };
        let index = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
        let item = index.and_then(|index| self.query.items.get(index)).cloned();
        let Some(item) = item else {
            let count = self.query.items.len();
            return Err(QueryError::new(at, format!("there is no column {number}, only {count}")));
        };
        self.copy(&item.expr)
    }

    /// Counts parts of the query.
    fn grow(&mut self, parts: usize) -> Result<(), QueryError> {
        self.parts += parts;
        match self.parts > PARTS_MAX {
            true => Err(self.refuse("the query has too many parts")),
            false => Ok(()),
        }
    }

    /// A copy counts as if it had been written: names of names would double otherwise.
    fn copy(&mut self, expr: &Expr) -> Result<Expr, QueryError> {
        let mut parts = 0;
        expr.visit(&mut |_| {
            parts += 1;
            true
        });
        self.grow(parts)?;
        Ok(expr.clone())
    }

    fn expression(&mut self) -> Result<Expr, QueryError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.refuse("the expression is nested too deeply"));
        }
        self.grow(1)?;
        let mut left = self.conjunction()?;
        while self.take_word("or") {
            left = self.binary(Operator::Or, left, Parser::conjunction)?;
        }
        self.depth -= 1;
        Ok(left)
    }

    fn binary(
        &mut self,
        operator: Operator,
        left: Expr,
        right: impl FnOnce(&mut Self) -> Result<Expr, QueryError>,
    ) -> Result<Expr, QueryError> {
        // Chains lean to the left, so their length is depth too.
        self.grow(1)?;
        Ok(Expr::Binary(operator, Box::new(left), Box::new(right(self)?)))
    }

    fn conjunction(&mut self) -> Result<Expr, QueryError> {
        let mut left = self.negation()?;
        while self.take_word("and") {
            left = self.binary(Operator::And, left, Parser::negation)?;
        }
        Ok(left)
    }

    fn negation(&mut self) -> Result<Expr, QueryError> {
        let mut is_negated = false;
        while self.take_word("not") {
            is_negated = !is_negated;
        }
        let inner = self.comparison()?;
        Ok(if is_negated { Expr::Not(Box::new(inner)) } else { inner })
    }

    fn comparison(&mut self) -> Result<Expr, QueryError> {
        let left = self.sum()?;
        if self.take_word("is") {
            let is_negated = self.take_word("not");
            self.expect_word("null")?;
            return Ok(negate_if(is_negated, Expr::IsNull(Box::new(left))));
        }
        let is_negated = self.is_word(0, "not") && self.is_word(1, "in");
        if is_negated || self.is_word(0, "in") {
            self.at += 1 + usize::from(is_negated);
            return Ok(negate_if(is_negated, self.list(&left)?));
        }
        let Token::Sign(sign) = *self.peek() else { return Ok(left) };
        let operator = match sign {
            "=" | "==" => Operator::Equal,
            "!=" | "<>" => Operator::NotEqual,
            "<" => Operator::Less,
            "<=" => Operator::LessEqual,
            ">" => Operator::Greater,
            ">=" => Operator::GreaterEqual,
            "~" | "!~" => {
                self.at += 1;
                let pattern = self.pattern()?;
                return Ok(negate_if(sign == "!~", Expr::Matches(Box::new(left), pattern)));
            }
            _ => return Ok(left),
        };
        self.at += 1;
        self.binary(operator, left, Parser::sum)
    }

    /// `in (1, 2)` is `= 1 or = 2`.
    fn list(&mut self, left: &Expr) -> Result<Expr, QueryError> {
        self.expect_sign("(")?;
        let mut any: Option<Expr> = None;
        loop {
            let left = self.copy(left)?;
            let equal = self.binary(Operator::Equal, left, Parser::sum)?;
            any = Some(match any {
                Some(any) => self.binary(Operator::Or, any, |_| Ok(equal))?,
                None => equal,
            });
            if !self.take_sign(",") {
                break;
            }
        }
        self.expect_sign(")")?;
        Ok(any.unwrap_or(Expr::Literal(Value::Bool(false))))
    }

    fn pattern(&mut self) -> Result<usize, QueryError> {
        let at = self.offset();
        let Token::Text(text) = self.peek().clone() else {
            return Err(self.refuse("a pattern in quotes must follow"));
        };
        self.at += 1;
        // One number for one pattern, so that equal expressions are equal.
        if let Some(known) = self.query.patterns.iter().position(|known| known.text() == text) {
            return Ok(known);
        }
        let pattern =
            Pattern::new(&text).map_err(|error| QueryError::new(at, error.to_string()))?;
        self.grow(1)?;
        self.query.patterns.push(pattern);
        Ok(self.query.patterns.len() - 1)
    }

    fn sum(&mut self) -> Result<Expr, QueryError> {
        let mut left = self.product()?;
        loop {
            let operator = match self.peek() {
                Token::Sign("+") => Operator::Add,
                Token::Sign("-") => Operator::Subtract,
                _ => return Ok(left),
            };
            self.at += 1;
            left = self.binary(operator, left, Parser::product)?;
        }
    }

    fn product(&mut self) -> Result<Expr, QueryError> {
        let mut left = self.primary()?;
        loop {
            let operator = match self.peek() {
                Token::Sign("*") => Operator::Multiply,
                Token::Sign("/") => Operator::Divide,
                Token::Sign("%") => Operator::Remainder,
                _ => return Ok(left),
            };
            self.at += 1;
            left = self.binary(operator, left, Parser::primary)?;
        }
    }

    fn primary(&mut self) -> Result<Expr, QueryError> {
        let token = self.peek().clone();
        let at = self.offset();
        self.at += 1;
        match token {
            Token::Int(value) => Ok(Expr::Literal(Value::Int(value))),
            Token::Real(value) => Ok(Expr::Literal(Value::Real(value))),
            Token::Text(value) => Ok(Expr::Literal(Value::Text(value))),
            Token::Field(name) => Ok(self.field(name)),
            Token::Quoted(name) => self.column(&name, at),
            Token::Sign("(") => {
                let inner = self.expression()?;
                self.expect_sign(")")?;
                Ok(inner)
            }
            Token::Sign("-") => {
                self.depth += 1;
                if self.depth > DEPTH_MAX {
                    return Err(self.refuse("the expression is nested too deeply"));
                }
                let inner = self.primary()?;
                self.depth -= 1;
                Ok(Expr::Negate(Box::new(inner)))
            }
            Token::Word(word) => self.word(&word, at),
            _ => {
                self.at -= 1;
                Err(self.refuse("expected a column, a field or a value"))
            }
        }
    }

    fn word(&mut self, word: &str, at: usize) -> Result<Expr, QueryError> {
        match word.to_ascii_lowercase().as_str() {
            "true" => return Ok(Expr::Literal(Value::Bool(true))),
            "false" => return Ok(Expr::Literal(Value::Bool(false))),
            "null" => return Ok(Expr::Literal(Value::Null)),
            lower if KEYWORDS.contains(&lower) => {
                self.at -= 1;
                return Err(self.refuse("expected a column, a field or a value"));
            }
            _ => {}
        }
        if self.take_sign("(") {
            return self.function(word, at);
        }
        self.column(word, at)
    }

    fn column(&mut self, name: &str, at: usize) -> Result<Expr, QueryError> {
        if let Some((_, column)) = find(&Column::ALL, name) {
            return Ok(Expr::Column(*column));
        }
        // The name that an item was given.
        if let Some(item) = self.query.items.iter().find(|item| item.name == name).cloned() {
            return self.copy(&item.expr);
        }
        let names = Column::ALL.map(|(name, _)| name);
        Err(QueryError::new(at, format!("no column `{name}`{}", nearest(name, &names))))
    }

    fn field(&mut self, first: String) -> Expr {
        let mut path = vec![first];
        while let Token::Field(name) = self.peek() {
            path.push(name.clone());
            self.at += 1;
        }
        let known = self.query.fields.iter().position(|known| *known == path);
        Expr::Field(known.unwrap_or_else(|| {
            self.query.fields.push(path);
            self.query.fields.len() - 1
        }))
    }

    fn function(&mut self, name: &str, at: usize) -> Result<Expr, QueryError> {
        let Some((_, kind)) = find(&FUNCTIONS, name) else {
            let names = FUNCTIONS.map(|(name, _)| name);
            let hint = nearest(name, &names);
            return Err(QueryError::new(at, format!("no function `{name}`{hint}")));
        };
        let argument_at = self.offset();
        let argument = if self.take_sign("*") { None } else { Some(self.expression()?) };
        if let Some(argument) = &argument {
            refuse_aggregates(argument, argument_at, name)?;
        }
        let takes_all = matches!(kind, Summing::Count | Summing::Retained);
        if argument.is_none() && !takes_all || argument.is_some() && *kind == Summing::Retained {
            let what = if takes_all { "only `*`" } else { "a column" };
            return Err(QueryError::new(argument_at, format!("{name} takes {what}")));
        }
        self.expect_sign(")")?;
        let aggregate = Aggregate { kind: *kind, argument };
        let known = self.query.aggregates.iter().position(|known| *known == aggregate);
        Ok(Expr::Aggregate(known.unwrap_or_else(|| {
            self.query.aggregates.push(aggregate);
            self.query.aggregates.len() - 1
        })))
    }

    fn name(&mut self) -> Result<String, QueryError> {
        match self.peek().clone() {
            Token::Word(name) | Token::Quoted(name) | Token::Text(name) => {
                self.at += 1;
                Ok(name)
            }
            _ => Err(self.refuse("a name must follow `as`")),
        }
    }

    fn peek(&self) -> &Token {
        self.tokens.get(self.at).map_or(&Token::End, |token| &token.0)
    }

    fn offset(&self) -> usize {
        self.tokens.get(self.at).map_or(self.text.len(), |token| token.1)
    }

    fn is_word(&self, ahead: usize, word: &str) -> bool {
        let token = self.tokens.get(self.at + ahead);
        matches!(token, Some((Token::Word(found), _)) if found.eq_ignore_ascii_case(word))
    }

    fn take_word(&mut self, word: &str) -> bool {
        let is_there = self.is_word(0, word);
        self.at += usize::from(is_there);
        is_there
    }

    fn take_sign(&mut self, sign: &str) -> bool {
        let is_there = matches!(self.peek(), Token::Sign(found) if *found == sign);
        self.at += usize::from(is_there);
        is_there
    }

    fn expect_word(&mut self, word: &str) -> Result<(), QueryError> {
        if self.take_word(word) { Ok(()) } else { Err(self.refuse(&format!("expected `{word}`"))) }
    }

    fn expect_sign(&mut self, sign: &str) -> Result<(), QueryError> {
        if self.take_sign(sign) { Ok(()) } else { Err(self.refuse(&format!("expected `{sign}`"))) }
    }

    fn refuse(&self, what: &str) -> QueryError {
        QueryError::new(self.offset(), what)
    }
}

fn negate_if(is_negated: bool, expr: Expr) -> Expr {
    if is_negated { Expr::Not(Box::new(expr)) } else { expr }
}

fn refuse_aggregates(expr: &Expr, at: usize, place: &str) -> Result<(), QueryError> {
    let mut has_aggregate = false;
    expr.visit(&mut |part| {
        has_aggregate |= matches!(part, Expr::Aggregate(_));
        true
    });
    match has_aggregate {
        true => Err(QueryError::new(at, format!("`{place}` works on single objects, not on sums"))),
        false => Ok(()),
    }
}

fn find<'t, T>(table: &'t [(&str, T)], name: &str) -> Option<&'t (&'t str, T)> {
    table.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))
}

/// A hint at the known name that differs least.
fn nearest(name: &str, known: &[&str]) -> String {
    let name = fold(name);
    let from = |known: &&str| distance(&name, &fold(known), usize::MAX).unwrap_or(usize::MAX);
    let best = known.iter().map(|known| (from(known), known)).min();
    match best {
        Some((distance, best)) if distance <= 2.max(best.len() / 3) => {
            format!("; did you mean `{best}`?")
        }
        _ => format!("; there are {}", known.join(", ")),
    }
}
