//! Tokens to a tree.

use std::collections::HashMap;
use std::sync::Arc;

use super::lex::{self, Token, TokenKind};
use super::value::Value;
use super::{Dialect, TemplateError, functions};
use crate::error::Place;

/// Longest template.
const MAX_BYTES: usize = 1 << 20;
/// Deepest nesting of blocks and parentheses.
const MAX_DEPTH: usize = 60;

/// What a template consists of.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Text(String),
    /// Prints a pipeline, if it does not only set a variable.
    Action(Pipeline),
    If(Vec<(Pipeline, Vec<Node>)>, Vec<Node>),
    With(Vec<(Pipeline, Vec<Node>)>, Vec<Node>),
    Range(Pipeline, Vec<Node>, Vec<Node>),
    Template {
        name: String,
        data: Option<Pipeline>,
        place: Place,
    },
    Break,
    Continue,
}

/// Commands, each of which takes what the one before gives.
#[derive(Clone, Debug)]
pub(super) struct Pipeline {
    pub place: Place,
    /// Variables it sets.
    pub variables: Vec<String>,
    /// They are new.
    pub declares: bool,
    pub commands: Vec<Vec<Operand>>,
}

/// A value or a function, with the fields that are taken from it.
#[derive(Clone, Debug)]
pub(super) struct Operand {
    pub base: Base,
    pub fields: Vec<String>,
    pub place: Place,
}

#[derive(Clone, Debug)]
pub(super) enum Base {
    Dot,
    Variable(String),
    Constant(Value),
    Function(String),
    Pipeline(Box<Pipeline>),
}

/// Templates by name.
pub(super) type Defined = HashMap<String, Arc<Vec<Node>>>;

/// What a text has: its body and what it defines.
pub(super) struct Parsed {
    pub body: Vec<Node>,
    pub defined: Defined,
}

/// Parses a template whose variables besides `$` are these.
pub(super) fn parse(
    text: &str,
    dialect: Dialect,
    variables: &[&str],
) -> Result<Parsed, TemplateError> {
    if text.len() > MAX_BYTES {
        let message = format!("a template has at most {MAX_BYTES} bytes");
        return Err(TemplateError { place: Place::of(text, 0), message });
    }
    let located =
        |(at, message): (usize, String)| TemplateError { place: Place::of(text, at), message };
    let tokens = lex::tokens(text).map_err(located)?;
    let variables = std::iter::once("$").chain(variables.iter().copied());
    let mut parser = Parser {
        text,
        tokens,
        position: 0,
        dialect,
        variables: variables.map(str::to_owned).collect(),
        defined: HashMap::new(),
        depth: 0,
        loops: 0,
    };
    let body = parser.list().and_then(|(body, end)| match end {
        End::OfText => Ok(body),
        _ => Err(parser.wrong("unexpected {{end}} or {{else}}")),
    });
    let body = body.map_err(located)?;
    Ok(Parsed { body, defined: parser.defined })
}

type Fault = (usize, String);
/// What a control structure consists of: the branches, and what `else` has.
type Branches = (Vec<(Pipeline, Vec<Node>)>, Vec<Node>);

/// What ended a list of nodes.
#[derive(PartialEq)]
enum End {
    OfText,
    OfBlock,
    /// `{{else`, with the rest still to read.
    Else,
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    position: usize,
    dialect: Dialect,
    variables: Vec<String>,
    defined: Defined,
    depth: usize,
    loops: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&TokenKind> {
        self.tokens.get(self.position).map(|token| &token.kind)
    }

    fn next(&mut self) -> Option<TokenKind> {
        let kind = self.peek().cloned();
        self.position += 1;
        kind
    }

    fn at(&self) -> usize {
        self.tokens.get(self.position).map_or(self.text.len(), |token| token.at)
    }

    fn place(&self) -> Place {
        Place::of(self.text, self.at())
    }

    fn wrong(&self, message: impl Into<String>) -> Fault {
        (self.at(), message.into())
    }

    fn unexpected(&self, context: &str) -> Fault {
        let found = match self.peek() {
            None => "EOF".to_owned(),
            Some(TokenKind::Close) => "\"}}\"".to_owned(),
            Some(TokenKind::Word(word)) => format!("<{word}>"),
            Some(TokenKind::Sign(sign)) => format!("{sign:?}"),
            Some(kind) => format!("{kind:?}"),
        };
        self.wrong(format!("unexpected {found} in {context}"))
    }

    fn close(&mut self, context: &str) -> Result<(), Fault> {
        match self.peek() {
            Some(TokenKind::Close) => {
                self.position += 1;
                Ok(())
            }
            _ => Err(self.unexpected(context)),
        }
    }

    fn deeper(&mut self) -> Result<(), Fault> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.wrong("template is nested too deeply"));
        }
        Ok(())
    }

    fn list(&mut self) -> Result<(Vec<Node>, End), Fault> {
        self.deeper()?;
        let mut nodes = Vec::new();
        loop {
            match self.next() {
                None => {
                    self.depth -= 1;
                    return Ok((nodes, End::OfText));
                }
                Some(TokenKind::Text(text)) => nodes.push(Node::Text(text)),
                _ => match self.peek().cloned() {
                    Some(TokenKind::Word(word)) if word == "end" => {
                        self.position += 1;
                        self.close("end")?;
                        self.depth -= 1;
                        return Ok((nodes, End::OfBlock));
                    }
                    Some(TokenKind::Word(word)) if word == "else" => {
                        self.position += 1;
                        self.depth -= 1;
                        return Ok((nodes, End::Else));
                    }
                    _ => nodes.extend(self.action()?),
                },
            }
        }
    }

    /// What stands between `{{` and `}}`, with all that belongs to it.
    fn action(&mut self) -> Result<Option<Node>, Fault> {
        let word = match self.peek() {
            Some(TokenKind::Word(word)) => word.clone(),
            _ => String::new(),
        };
        let known = self.variables.len();
        let node = match word.as_str() {
            "if" => {
                self.position += 1;
                let (branches, otherwise) = self.branches("if")?;
                Node::If(branches, otherwise)
            }
            "with" => {
                self.position += 1;
                let (branches, otherwise) = self.branches("with")?;
                Node::With(branches, otherwise)
            }
            "range" => {
                self.position += 1;
                self.range()?
            }
            "template" => {
                self.position += 1;
                self.template()?
            }
            "block" => {
                self.position += 1;
                self.block()?
            }
            "define" => {
                self.position += 1;
                self.define()?;
                return Ok(None);
            }
            "break" | "continue" => {
                if self.loops == 0 {
                    return Err(self.wrong(format!("{{{{{word}}}}} outside {{{{range}}}}")));
                }
                self.position += 1;
                self.close(&word)?;
                if word == "break" { Node::Break } else { Node::Continue }
            }
            _ => {
                let pipeline = self.pipeline("command")?;
                self.close("command")?;
                // What it declares lives on, to the end of the block around.
                return Ok(Some(Node::Action(pipeline)));
            }
        };
        self.variables.truncate(known);
        Ok(Some(node))
    }

    fn branches(&mut self, word: &str) -> Result<Branches, Fault> {
        let mut branches = Vec::new();
        let known = self.variables.len();
        loop {
            let pipeline = self.pipeline(word)?;
            self.close(word)?;
            let (body, end) = self.list()?;
            branches.push((pipeline, body));
            match end {
                End::OfText => return Err(self.wrong("unexpected EOF")),
                End::OfBlock => break,
                End::Else => {}
            }
            match self.peek() {
                Some(TokenKind::Word(again)) if again == word => self.position += 1,
                _ => {
                    self.close("else")?;
                    let (otherwise, end) = self.list()?;
                    if end != End::OfBlock {
                        return Err(self.wrong("expected end; found {{else}} or EOF"));
                    }
                    self.variables.truncate(known);
                    return Ok((branches, otherwise));
                }
            }
        }
        self.variables.truncate(known);
        Ok((branches, Vec::new()))
    }

    fn range(&mut self) -> Result<Node, Fault> {
        let pipeline = self.pipeline("range")?;
        self.close("range")?;
        self.loops += 1;
        let (body, end) = self.list()?;
        self.loops -= 1;
        match end {
            End::OfText => Err(self.wrong("unexpected EOF")),
            End::OfBlock => Ok(Node::Range(pipeline, body, Vec::new())),
            End::Else => {
                self.close("else")?;
                let (otherwise, end) = self.list()?;
                if end != End::OfBlock {
                    return Err(self.wrong("expected end; found {{else}} or EOF"));
                }
                Ok(Node::Range(pipeline, body, otherwise))
            }
        }
    }

    fn name(&mut self, context: &str) -> Result<String, Fault> {
        match self.peek().cloned() {
            Some(TokenKind::Quoted(name)) => {
                self.position += 1;
                Ok(name)
            }
            _ => Err(self.unexpected(&format!("{context} clause"))),
        }
    }

    fn template(&mut self) -> Result<Node, Fault> {
        let place = self.place();
        let name = self.name("template")?;
        let data = match self.peek() {
            Some(TokenKind::Close) => None,
            _ => Some(self.pipeline("template")?),
        };
        self.close("template")?;
        Ok(Node::Template { name, data, place })
    }

    fn block(&mut self) -> Result<Node, Fault> {
        let place = self.place();
        let name = self.name("block")?;
        let data = Some(self.pipeline("block")?);
        self.close("block")?;
        self.definition(name.clone(), "block")?;
        Ok(Node::Template { name, data, place })
    }

    fn define(&mut self) -> Result<(), Fault> {
        if self.depth > 1 {
            return Err(self.wrong("unexpected {{define}}"));
        }
        let name = self.name("define")?;
        self.close("define")?;
        self.definition(name, "define")
    }

    /// The body of a template of its own, which sees no variable but `$`.
    fn definition(&mut self, name: String, context: &str) -> Result<(), Fault> {
        let outer = std::mem::replace(&mut self.variables, vec!["$".to_owned()]);
        let loops = std::mem::take(&mut self.loops);
        let (body, end) = self.list()?;
        if end != End::OfBlock {
            return Err(self.wrong(format!("unexpected EOF or {{{{else}}}} in {context} clause")));
        }
        (self.variables, self.loops) = (outer, loops);
        let is_empty = |node: &Node| matches!(node, Node::Text(text) if text.trim().is_empty());
        let is_blank = |body: &[Node]| body.iter().all(is_empty);
        match self.defined.get(&name) {
            // A definition that says nothing gives way to one that does.
            Some(known) if !is_blank(known) && !is_blank(&body) => {
                return Err(self.wrong(format!("multiple definition of template {name:?}")));
            }
            Some(known) if !is_blank(known) => {}
            _ => {
                self.defined.insert(name, Arc::new(body));
            }
        }
        Ok(())
    }

    fn pipeline(&mut self, context: &str) -> Result<Pipeline, Fault> {
        self.deeper()?;
        let place = self.place();
        let (variables, declares) = self.assignment(context)?;
        let mut commands = Vec::new();
        loop {
            commands.push(self.command(context)?);
            match self.peek() {
                Some(TokenKind::Sign("|")) => self.position += 1,
                _ => break,
            }
            // Go lets a pipe lead nowhere.
            if matches!(self.peek(), Some(TokenKind::Close | TokenKind::Sign(")"))) {
                break;
            }
        }
        // What a later command of a pipeline takes can only go to a function.
        for command in commands.iter().skip(1) {
            if let [Operand { base: Base::Constant(_), .. }, ..] = command.as_slice() {
                let message = "non executable command in pipeline stage 2".to_owned();
                return Err((self.at(), message));
            }
        }
        if declares {
            self.variables.extend(variables.iter().cloned());
        }
        self.depth -= 1;
        Ok(Pipeline { place, variables, declares, commands })
    }

    /// `$a :=`, `$a, $b :=`, `$a =`.
    fn assignment(&mut self, context: &str) -> Result<(Vec<String>, bool), Fault> {
        let ahead = |parser: &Self, by: usize| {
            parser.tokens.get(parser.position + by).map(|token| token.kind.clone())
        };
        let Some(TokenKind::Variable(first)) = ahead(self, 0) else {
            return Ok((Vec::new(), false));
        };
        match (ahead(self, 1), ahead(self, 2), ahead(self, 3)) {
            (Some(TokenKind::Sign(":=")), ..) => {
                self.position += 2;
                Ok((vec![first], true))
            }
            (Some(TokenKind::Sign("=")), ..) => {
                self.position += 2;
                Ok((vec![first], false))
            }
            (Some(TokenKind::Sign(",")), Some(TokenKind::Variable(second)), Some(sign))
                if context == "range" =>
            {
                let declares = sign == TokenKind::Sign(":=");
                if !declares && sign != TokenKind::Sign("=") {
                    return Err(self.unexpected(context));
                }
                self.position += 4;
                Ok((vec![first, second], declares))
            }
            _ => Ok((Vec::new(), false)),
        }
    }

    fn known(&self, variable: &String) -> Result<(), Fault> {
        if self.variables.contains(variable) {
            return Ok(());
        }
        Err(self.wrong(format!("undefined variable {variable:?}")))
    }

    fn command(&mut self, context: &str) -> Result<Vec<Operand>, Fault> {
        let mut operands = Vec::new();
        while let Some(operand) = self.operand(context)? {
            operands.push(operand);
            let spaced = self.tokens.get(self.position).is_none_or(|token| token.spaced);
            let ends =
                matches!(self.peek(), None | Some(TokenKind::Close | TokenKind::Sign("|" | ")")));
            if !spaced && !ends {
                return Err(self.unexpected("operand"));
            }
        }
        if operands.is_empty() {
            return Err(self.wrong(format!("missing value for {context}")));
        }
        Ok(operands)
    }

    fn operand(&mut self, context: &str) -> Result<Option<Operand>, Fault> {
        let place = self.place();
        let mut fields = Vec::new();
        let base = match self.peek().cloned() {
            Some(TokenKind::Dot) => Base::Dot,
            Some(TokenKind::Field(name)) => {
                fields.push(name);
                Base::Dot
            }
            Some(TokenKind::Variable(name)) => {
                self.known(&name)?;
                Base::Variable(name)
            }
            Some(TokenKind::Quoted(text)) => Base::Constant(Value::Str(text)),
            Some(TokenKind::Int(number)) => Base::Constant(Value::Int(number)),
            Some(TokenKind::Float(number)) => Base::Constant(Value::Float(number)),
            Some(TokenKind::Word(word)) => self.word(&word)?,
            Some(TokenKind::Sign("(")) => {
                self.position += 1;
                let pipeline = self.pipeline("parenthesized pipeline")?;
                if self.peek() != Some(&TokenKind::Sign(")")) {
                    return Err(self.wrong("unclosed left paren"));
                }
                Base::Pipeline(Box::new(pipeline))
            }
            None | Some(TokenKind::Close | TokenKind::Sign("|" | ")")) => return Ok(None),
            _ => return Err(self.unexpected(context)),
        };
        self.position += 1;
        while let Some(Token { kind: TokenKind::Field(name), spaced: false, .. }) =
            self.tokens.get(self.position)
        {
            fields.push(name.clone());
            self.position += 1;
        }
        let follows_dot = matches!(self.tokens.get(self.position - fields.len() - 1),
            Some(token) if token.kind == TokenKind::Dot);
        if follows_dot && !fields.is_empty() {
            return Err(self.wrong("unexpected . after term \".\""));
        }
        if let (Base::Constant(_), [field, ..]) = (&base, fields.as_slice()) {
            return Err(self.wrong(format!("unexpected .{field} after a constant")));
        }
        Ok(Some(Operand { base, fields, place }))
    }

    fn word(&self, word: &str) -> Result<Base, Fault> {
        match word {
            "true" | "false" => Ok(Base::Constant(Value::Bool(word == "true"))),
            "nil" => Ok(Base::Constant(Value::Null)),
            _ if functions::exists(word, self.dialect) => Ok(Base::Function(word.to_owned())),
            _ => Err(self.wrong(format!("function {word:?} not defined"))),
        }
    }
}
