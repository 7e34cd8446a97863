//! What the grammar alone does not say: types, and which parts go together.

use model::series::NAME;

use super::ast::{BinaryOp, Cardinality, Expr, Kind, Matching, Selector, Type};
use super::parse::{Fault, expect};

/// Checks a selector.
pub(super) fn selector(selector: &Selector, at: usize) -> Result<(), Fault> {
    if selector.is_named {
        let names = selector.matchers.iter().filter(|matcher| matcher.name == NAME);
        let names: Vec<&str> = names.map(|matcher| matcher.value.as_str()).collect();
        if let [other, .., name] = names.as_slice() {
            let message = format!("metric name must not be set twice: {name:?} or {other:?}");
            return Err(Fault::Wrong(at, message));
        }
        return Ok(());
    }
    // Else a slip of the pen would select everything.
    if selector.matchers.iter().all(|matcher| matcher.matches("")) {
        let message = "vector selector must contain at least one non-empty matcher".to_owned();
        return Err(Fault::Wrong(at, message));
    }
    Ok(())
}

/// Checks an operator with its operands; `at` is where the operator stands.
pub(super) fn operator(
    op: BinaryOp,
    lhs: &Expr,
    rhs: &Expr,
    matching: &Matching,
    at: usize,
) -> Result<(), Fault> {
    let wrong = |at: usize, message: String| Err(Fault::Wrong(at, message));
    if matching.is_bool && !op.is_comparison() {
        return wrong(at, "bool modifier can only be used on comparison operators".to_owned());
    }
    for operand in [lhs, rhs] {
        if !matches!(operand.kind_of_result(), Type::Scalar | Type::Vector) {
            let message = "binary expression must contain only scalar and instant vector types";
            return wrong(operand.at, message.to_owned());
        }
    }
    let scalars = [lhs, rhs].iter().filter(|e| e.kind_of_result() == Type::Scalar).count();
    if scalars == 2 && op.is_comparison() && !matching.is_bool {
        return wrong(at, "comparisons between scalars must use BOOL modifier".to_owned());
    }
    if scalars > 0 && op.is_set() {
        let op = op.as_str();
        return wrong(at, format!("set operator {op:?} not allowed in binary scalar expression"));
    }
    if matching.is_on
        && let Some(label) = matching.labels.iter().find(|label| matching.include.contains(label))
    {
        let message = format!("label {label:?} must not occur in ON and GROUP clause at once");
        return wrong(at, message);
    }
    let fills = matching.fill_left.is_some() || matching.fill_right.is_some();
    if scalars > 0 && !matching.labels.is_empty() {
        return wrong(at, "vector matching only allowed between instant vectors".to_owned());
    }
    if scalars > 0 && fills {
        let message = "filling in missing series only allowed between instant vectors";
        return wrong(at, message.to_owned());
    }
    if op.is_set() && matching.cardinality != Cardinality::OneToOne {
        return wrong(at, format!("no grouping allowed for {:?} operation", op.as_str()));
    }
    if op.is_set() && fills {
        return wrong(at, "filling in missing series not allowed for set operators".to_owned());
    }
    Ok(())
}

/// Checks the types of all parts but operators.
pub(super) fn types(expr: &Expr) -> Result<(), Fault> {
    let mut fault = None;
    expr.visit(&mut |expr| {
        if fault.is_none() {
            fault = part(expr).err();
        }
    });
    fault.map_or(Ok(()), Err)
}

fn part(expr: &Expr) -> Result<(), Fault> {
    match &expr.kind {
        Kind::Aggregate { op, expr, param, .. } => {
            expect(expr, Type::Vector, "aggregation expression")?;
            match (op.param(), param) {
                (Some(wanted), Some(param)) => expect(param, wanted, "aggregation parameter"),
                _ => Ok(()),
            }
        }
        Kind::Call { args, .. } => call(expr, args),
        Kind::Negate(inner) | Kind::Paren(inner) => match inner.kind_of_result() {
            Type::Scalar | Type::Vector => Ok(()),
            _ if matches!(expr.kind, Kind::Paren(_)) => Ok(()),
            found => {
                let message = format!(
                    "unary expression only allowed on expressions of type scalar or instant \
                     vector, got {:?}",
                    found.as_str()
                );
                Err(Fault::Wrong(expr.at, message))
            }
        },
        Kind::Subquery { expr: inner, .. } => match inner.kind_of_result() {
            Type::Vector => Ok(()),
            found => {
                let found = found.as_str();
                let message =
                    format!("subquery is only allowed on instant vector, got {found} instead");
                Err(Fault::Wrong(expr.at, message))
            }
        },
        _ => Ok(()),
    }
}

fn call(expr: &Expr, args: &[Expr]) -> Result<(), Fault> {
    let Kind::Call { function, .. } = &expr.kind else { return Ok(()) };
    let (name, wanted, got) = (function.name, function.args.len(), args.len());
    let wrong = |message: String| Err(Fault::Wrong(expr.at, message));
    if function.variadic == 0 && wanted != got {
        return wrong(format!("expected {wanted} argument(s) in call to {name:?}, got {got}"));
    }
    if function.variadic != 0 && got + 1 < wanted {
        let least = wanted - 1;
        return wrong(format!(
            "expected at least {least} argument(s) in call to {name:?}, got {got}"
        ));
    }
    let most = wanted + usize::try_from(function.variadic).unwrap_or(usize::MAX / 2);
    if function.variadic != 0 && got + 1 > most {
        let most = most - 1;
        return wrong(format!(
            "expected at most {most} argument(s) in call to {name:?}, got {got}"
        ));
    }
    let last = function.args.last();
    for (index, arg) in args.iter().enumerate() {
        if let Some(wanted) = function.args.get(index).or(last) {
            expect(arg, *wanted, &format!("call to function {name:?}"))?;
        }
    }
    Ok(())
}
