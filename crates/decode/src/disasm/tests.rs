//! Known instructions, and bytes that are none.

use super::x86_64;

fn one(code: &[u8]) -> String {
    let lookup = |address: u64| (address == 0x1005).then(|| ("main.f".to_owned(), 0x1005));
    x86_64(code, 0x1000, &lookup)[0].text.clone()
}

#[test]
fn operands_come_in_gos_order() {
    assert_eq!(one(&[0x48, 0x89, 0x4c, 0x24, 0x20]), "MOVQ CX, 0x20(SP)");
    assert_eq!(one(&[0x48, 0x83, 0xec, 0x18]), "SUBQ $0x18, SP");
    let far = [0x4c, 0x8d, 0xa4, 0x24, 0xf0, 0xfe, 0xff, 0xff];
    assert_eq!(one(&far), "LEAQ 0xfffffef0(SP), R12");
    let whole = [0xa0, 0x20, 0x08, 0x00, 0x00, 0xc4, 0xe1, 0xf8, 0x91];
    assert_eq!(one(&whole), "MOVB -0x6e071e3bfffff7e0, AL");
    assert_eq!(one(&[0x55]), "PUSHQ BP");
    assert_eq!(one(&[0xe8, 0, 0, 0, 0]), "CALL main.f(SB)");
    assert_eq!(one(&[0xeb, 0x10]), "JMP 0x1012");
    assert_eq!(one(&[0x49, 0x3b, 0x66, 0x10]), "CMPQ SP, 0x10(R14)");
    assert_eq!(one(&[0xc3]), "RET");
    assert_eq!(one(&[0x0f, 0x57, 0xc0]), "XORPS X0, X0");
}

#[test]
fn bytes_that_are_no_instruction_are_shown_as_such() {
    assert_eq!(one(&[0x06]), "?");
    assert_eq!(x86_64(&[0x48, 0x89], 0, &|_| None).len(), 2);
    assert!(x86_64(&[], 0, &|_| None).is_empty());
}
