//! What a store that stands before another passes on unchanged. A test's own store writes only what it does otherwise.

/// Implements the named methods of `Store` by those of a field.
macro_rules! pass_on {
    ($inner:ident: $($method:ident),+) => {
        $(pass_on::pass_on!(@$method $inner);)+
    };
    (@prepare $inner:ident) => {
        fn prepare(&self) -> Result<(), StoreError> {
            self.$inner.prepare()
        }
    };
    (@list $inner:ident) => {
        fn list(&self, kind: Kind, each: &mut dyn FnMut(Id, u64)) -> Result<(), StoreError> {
            self.$inner.list(kind, each)
        }
    };
    (@size $inner:ident) => {
        fn size(&self, name: Name) -> Result<u64, StoreError> {
            self.$inner.size(name)
        }
    };
    (@get $inner:ident) => {
        fn get(&self, name: Name) -> Result<Vec<u8>, StoreError> {
            self.$inner.get(name)
        }
    };
    (@get_range $inner:ident) => {
        fn get_range(
            &self,
            name: Name,
            offset: u64,
            length: usize,
            buffer: &mut Vec<u8>,
        ) -> Result<(), StoreError> {
            self.$inner.get_range(name, offset, length, buffer)
        }
    };
    (@put $inner:ident) => {
        fn put(&self, name: Name, bytes: &[u8]) -> Result<(), StoreError> {
            self.$inner.put(name, bytes)
        }
    };
    (@remove $inner:ident) => {
        fn remove(&self, name: Name) -> Result<(), StoreError> {
            self.$inner.remove(name)
        }
    };
}

pub(crate) use pass_on;
